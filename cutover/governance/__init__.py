"""Who must agree before a gate is passed, and to what exactly. Signatures are to become files of their own here."""
