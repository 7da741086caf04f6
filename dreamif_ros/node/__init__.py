"""What every node is made of: a process, a life cycle, parameters, subscriptions, a worker."""
