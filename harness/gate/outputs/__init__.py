"""A judgement as what CI systems read: JUnit XML, Markdown, GitHub annotations, GitLab reports."""

from harness.gate.outputs.github import github_report
from harness.gate.outputs.gitlab import code_quality
from harness.gate.outputs.junit import junit_xml
from harness.gate.outputs.markdown import markdown_table

__all__ = ["code_quality", "github_report", "junit_xml", "markdown_table"]
