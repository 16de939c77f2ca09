"""Who acts: the built-in executors, and `dispatch`, which makes each command one act."""
