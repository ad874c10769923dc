"""The networks of a policy: a camera and state encoder, and denoisers that predict the clean action chunk."""
