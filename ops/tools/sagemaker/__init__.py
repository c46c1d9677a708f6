"""Training jobs and endpoints in Amazon SageMaker."""
