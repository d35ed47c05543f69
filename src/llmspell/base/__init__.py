"""What every service shares and no service owns: data types, registry, context, effects, files, clock."""
