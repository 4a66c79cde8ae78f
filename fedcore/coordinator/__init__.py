"""The coordinator: catalogue, governance, REST and the orchestration of runs. The only Django code."""
