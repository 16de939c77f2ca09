"""The built-in agents, by kind. Each proposes; none acts."""
