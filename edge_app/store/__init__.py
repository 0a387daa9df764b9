"""What must outlive the process: messages on their way out, and questions that are owed an answer."""
