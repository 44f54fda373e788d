"""Width sweep: what does width buy small networks?"""
