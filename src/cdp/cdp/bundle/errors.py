"""Why a bundle is refused."""


class BundleError(Exception):
    """A policy bundle that cannot be used or written; one line that says what is wrong and what to do."""
