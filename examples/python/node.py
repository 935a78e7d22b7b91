"""A node that prints every change, until Ctrl-C.

    cargo rustc --release --lib --features capi --crate-type cdylib,staticlib
    python3 examples/python/node.py a 127.0.0.1:7001 &
    python3 examples/python/node.py b 127.0.0.1:7002 127.0.0.1:7001
"""

import asyncio
import sys

from syncswim import Node


def show(change):
    for word, peers in zip(["active", "left", "removed"], change):
        for peer in peers:
            print(word, peer, flush=True)


async def run_async(node):
    async for change in node.changes_async():
        show(change)


def main():
    arguments = [argument for argument in sys.argv[1:] if argument != "--asyncio"]
    if len(arguments) < 2:
        sys.exit("usage: node.py [--asyncio] NAME BIND [JOIN...]")
    name, bind, *join = arguments
    with Node(name, bind=bind, join=join, tags={"language": "python"}) as node:
        try:
            if "--asyncio" in sys.argv:
                asyncio.run(run_async(node))
            else:
                for change in node.changes():
                    show(change)
        except KeyboardInterrupt:
            pass
        print("  " + node.status(), flush=True)
        for peer in node.peers().failed:
            print("  " + node.explain(peer).replace("\n", "\n  "), flush=True)
        for member in node.members():
            print(f"  {member.name} at {member.addr} is {member.state} {member.tags}", flush=True)


if __name__ == "__main__":
    main()
