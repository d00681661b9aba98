"""Tests of the agent, without a server: `python -m unittest`."""

import asyncio
import unittest

from consort import TaskError
from consort.testing import run_task
from worker import agent


class Summarise(unittest.TestCase):
    def test_the_first_sentences_are_kept(self) -> None:
        article = {"text": "It rained. We stayed in. We read.", "sentences": 2}
        self.assertEqual(asyncio.run(run_task(agent, "summarise", article)), "It rained. We stayed in.")

    def test_input_that_does_not_fit_is_refused(self) -> None:
        with self.assertRaises(TaskError):
            asyncio.run(run_task(agent, "summarise", {"text": 7}))


if __name__ == "__main__":
    unittest.main()
