"""A reader: `python reader.py SUBSCRIPTION [WORD]` takes what waits for it, and cannot read what has the word in it."""

import os
import sys

from consort import Client


def handle(title: str, word: str) -> None:
    """Does something with a piece of news."""
    if word and word in title:
        raise ValueError(f"cannot read `{word}`")


def main(subscription: str, word: str = "") -> None:
    """Settles each delivery: what was handled is acknowledged, what failed is given back, with the reason."""
    with Client(os.environ.get("CONSORT_SERVER", "127.0.0.1:7878")) as client:
        # This one ends when nothing has come for a second; one that runs all the time would wait again.
        while deliveries := client.fetch_events(subscription, consumer="reader", wait=1).deliveries:
            for delivery in deliveries:
                news: dict[str, str] = delivery.event.data or {}
                title = news["title"]
                try:
                    handle(title, word)
                except ValueError as error:
                    client.nack_deliveries(subscription, [delivery.delivery], reason=str(error))
                    print(f"given back: {title}, delivery {delivery.attempt}")
                else:
                    client.ack_deliveries(subscription, [delivery.delivery])
                    print(f"read: {title}")


if __name__ == "__main__":
    main(*sys.argv[1:])
