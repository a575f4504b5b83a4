"""The command `sluicegate`: what a pipeline's job and a person at a terminal use."""
