"""What the fusion node does with its cameras: from a message to what is published."""
