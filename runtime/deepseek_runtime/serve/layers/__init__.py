"""What a decoder layer is made of beside attention."""
