"""Sluicegate: deploys AWS Lambda functions for GitLab pipelines, with no AWS key in GitLab."""

__version__ = "0.1.0"
