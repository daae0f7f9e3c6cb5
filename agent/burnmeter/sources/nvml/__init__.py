"""The node's GPUs by NVIDIA's library: a source, the child that it asks, and what that asks.

    source.py   starts, bounds and kills the child; the only one that the agent uses
    reply.py    what the child's lines mean; who is who among the GPUs
    child.py    the process that loads the library: one line in, one line out
    the rest    what the child asks, how often, and in which units; it imports nothing else of ours

Nothing is imported here: the child's memory is the agent's bill.
"""
