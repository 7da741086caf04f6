"""What all nodes share: process, life cycle, parameters, subscriptions, publishers, worker."""
