"""Run directory, tasks, executors."""
