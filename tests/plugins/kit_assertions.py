"""An assertion on the report of a conformance kit."""


def assert_found(report, check, message):
    assert not report.ok
    found = [c.message for c in report.failures if c.name == check]
    assert any(message in text for text in found), f"{message!r} not among\n{report.text()}"
