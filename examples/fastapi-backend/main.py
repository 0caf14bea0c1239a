"""A FastAPI backend that a Pillion host starts, finds, watches and stops."""

import pillion
from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()


class Note(BaseModel):
    text: str


notes: list[Note] = []


@app.get("/notes")
def read_notes() -> list[Note]:
    return notes


@app.post("/notes")
async def add_note(note: Note) -> int:
    notes.append(note)
    return len(notes)


if __name__ == "__main__":
    pillion.serve(app, name="AIOS", version="0.1.0")
