"""A web service that submits in its request's transaction, and tells how a run stands.

It needs PostgreSQL, FastAPI and SQLAlchemy: `DATABASE_URL=postgresql://… uvicorn fastapi_app:app`.
"""

import os
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException
from sqlalchemy import text
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

from simpleworkflow import AsyncClient, UsageError

url = os.environ["DATABASE_URL"]
client = AsyncClient(url, auto_migrate=True)

# What follows the "?" in a URL of ours, such as search_path, is not for the driver.
engine = create_async_engine(url.partition("?")[0].replace("postgresql:", "postgresql+psycopg:"))
new_session = async_sessionmaker(engine)


@asynccontextmanager
async def lifespan(app: FastAPI):
    """Open what the whole program shares, and close it."""
    async with client:
        async with engine.begin() as connection:
            await connection.execute(text("CREATE TABLE IF NOT EXISTS shop_order (item text)"))
        yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)


@app.post("/orders/{item}", status_code=202)
async def order(item: str):
    """Take an order: its row and its run are committed together, or not at all."""
    async with new_session.begin() as session:
        sent = await client.submit("shop.ship.v1", {"item": item}, connection=session)
        await session.execute(text("INSERT INTO shop_order VALUES (:item)"), {"item": item})
        if item == "yacht":
            raise HTTPException(409, "out of stock")
    return {"run": sent.id}


@app.get("/runs/{run_id}")
async def status(run_id: str):
    """Tell how a run stands."""
    try:
        run = await client.get(run_id)
    except UsageError as exc:
        raise HTTPException(404, str(exc)) from exc
    return {"status": run.status, "result": run.result}
