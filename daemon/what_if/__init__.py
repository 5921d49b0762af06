"""What a model's history would have been under other policies of retraining: `driftd replay --what-if`."""
