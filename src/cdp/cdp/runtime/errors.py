"""Why a policy cannot run."""


class InferenceError(Exception):
    """A backend that cannot run here, or a prediction that is no action; one line that says what to do."""
