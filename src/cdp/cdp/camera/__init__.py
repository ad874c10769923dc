"""Whether a camera still looks where it did when the data set was recorded: motion between two pictures, a verdict on it, a picture that shows it."""
