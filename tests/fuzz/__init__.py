"""A harness that breaks inputs, kills processes and withholds resources, by fixed seeds.

`python -m tests.fuzz --minutes 60` on Linux. Each failure is a line with the command that repeats
it.
"""
