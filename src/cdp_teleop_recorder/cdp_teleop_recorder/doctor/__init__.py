"""`cdp doctor`: is this machine ready for the arm? One small probe for each thing that can be wrong, each with its sources handed in."""
