"""What follows from an alarm: policy, retrains, versions, deployments."""
