"""How fast, how frugal and how steady the operator's core is, against a real kube-apiserver and etcd."""
