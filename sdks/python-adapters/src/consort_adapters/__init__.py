"""Bring your own framework: LangGraph graphs, CrewAI crews, OpenAI Agents SDK agents and Pydantic AI agents on Consort.

For: one module for each framework, such as `consort_adapters.langgraph`. Not for: importing a framework that is not
used; each module needs its extra (`pip install "consort-adapters[langgraph]"`).
"""

from consort_adapters._types import Prompt, TextAnswer, Usage

__version__ = "0.1.0"

__all__ = ["Prompt", "TextAnswer", "Usage", "__version__"]
