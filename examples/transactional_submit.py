"""An order and the run that ships it: both are committed, or neither is. Needs PostgreSQL."""

import os

import psycopg

from simpleworkflow import Client, IntentPoller

url = os.environ["DATABASE_URL"]
poller = IntentPoller(url, ["shop.%"])


@poller.handler("shop.ship.v1")
def ship(run):
    print("Shipping", run.payload["item"])


def order(item, price):
    """Take an order in one transaction."""
    with connection.transaction():
        connection.execute("INSERT INTO pg_temp.orders VALUES (%s, %s)", [item, price])
        client.submit("shop.ship.v1", {"item": item}, connection=connection)
        if price > 100:
            raise ValueError(f"{item} is too expensive")


# What follows the "?" in a URL of ours, such as search_path, is not for the driver.
with (
    Client(url, auto_migrate=True) as client,
    psycopg.connect(url.partition("?")[0], autocommit=True) as connection,
):
    connection.execute("CREATE TEMP TABLE orders (item text, price int)")
    order("a book", 20)
    try:
        order("a yacht", 1_000_000)
    except ValueError as exc:
        print("Refused:", exc)
    print(poller.drain(), "run executed")
