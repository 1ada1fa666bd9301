"""Networks that chapters 21 and 22 train beside the U-Net and the encoder, as files and models of the zoo hold them."""
