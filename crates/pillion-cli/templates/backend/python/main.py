import pillion
from fastapi import FastAPI

app = FastAPI()


@app.get("/hello")
def hello() -> dict[str, str]:
    return {"text": "Hello from Python"}


if __name__ == "__main__":
    pillion.serve(app, name="backend", version="0.1.0")
