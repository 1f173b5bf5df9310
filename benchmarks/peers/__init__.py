"""Programs that measure other libraries; each runs in a virtual environment of its own.

They talk as `benchmarks.programs.protocol` says and import nothing else of ours. Each uses its
library as its own documentation does: pooled connections, and uvloop where its command line does.
"""
