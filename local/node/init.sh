#!/usr/bin/env bash
# A node's process 1, in PID, mount and network namespaces of its own. Every other process of the node,
# containers included, descends from it: when it is killed the kernel ends them all and drops their mounts,
# network links and packet-filter rules. The first node has the control plane too.
# usage: init.sh --node HOME    (the arguments are also how the node's processes are found from outside)
set -uo pipefail
home=$2
cd "$home"
. config/node.env

# Kubernetes, containerd and the CNI plugins insist on paths below these: in this mount namespace they are the node's
mount --make-rshared /
resolver=$(readlink -m /etc/resolv.conf)
for path in /var/lib /var/log; do
	mkdir -p "$home/node$path"
	mount --bind "$home/node$path" "$path"
done
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lock "$(dirname "$resolver")"
[ -e "$resolver" ] || touch "$resolver"
mount --bind config/resolv.conf "$resolver"

until ip link show "$NODE_LINK" > /dev/null 2>&1; do sleep 0.05; done
ip link set lo up
ip address add "$NODE_ADDRESS/$NODE_NETWORK" dev "$NODE_LINK"
ip link set "$NODE_LINK" up
# routing lookups must succeed for any address, and no packet may leave: a bridge without ports
ip link add nowhere type bridge
ip link set nowhere up
ip route add default dev nowhere
if [ -n "$FIRST" ]; then # the way to other nodes' pods, the API server and the machine's answers
	ip route add "$PODS" via "$FIRST"
	ip route add "$LINK" via "$FIRST"
fi
# the machine may open connections to the cluster, the cluster none to the machine
for chain in OUTPUT FORWARD; do
	iptables -w -I "$chain" -d "$HOST_ADDRESS" -m conntrack --ctstate NEW -j REJECT
done
echo 1 > /proc/sys/net/ipv4/ip_forward

# keep NAME PROGRAM ARG...: starts it, and starts it again whenever it ends
keep() {
	local name=$1
	shift
	(
		while :; do
			"$@" >> "log/$name.log" 2>&1 &
			echo $! > "run/$name.pid"
			wait $!
			echo "== $name ended with status $? at $(date -u +%T)" >> "log/$name.log"
			sleep 1
		done
	) &
}

api_server_answers() {
	bin/kubectl --kubeconfig "pki/$NODE_NAME.kubeconfig" get --raw /readyz > /dev/null 2>&1
}

control_plane() {
	keep etcd bin/etcd --name local --data-dir etcd --unsafe-no-fsync \
		--listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
		--listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 \
		--initial-cluster local=http://127.0.0.1:2380 --log-level warn
	keep kube-apiserver bin/kube-apiserver --etcd-servers=http://127.0.0.1:2379 \
		--bind-address=0.0.0.0 --advertise-address="$NODE_ADDRESS" --secure-port=6443 \
		--tls-cert-file=pki/apiserver.crt --tls-private-key-file=pki/apiserver.key --client-ca-file=pki/ca.crt \
		--authentication-config=config/authentication.yaml \
		--service-account-key-file=pki/service-account.pub --service-account-signing-key-file=pki/service-account.key \
		--service-account-issuer=https://kubernetes.default.svc.cluster.local --service-cluster-ip-range="$SERVICES" \
		--authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --allow-privileged=true \
		--kubelet-client-certificate=pki/kubelet-client.crt --kubelet-client-key=pki/kubelet-client.key \
		--kubelet-certificate-authority=pki/ca.crt --kubelet-preferred-address-types=InternalIP \
		--requestheader-client-ca-file=pki/front-ca.crt --requestheader-allowed-names=front-proxy \
		--requestheader-username-headers=X-Remote-User --requestheader-group-headers=X-Remote-Group \
		--requestheader-extra-headers-prefix=X-Remote-Extra- \
		--proxy-client-cert-file=pki/front-proxy.crt --proxy-client-key-file=pki/front-proxy.key
	# the clients of the API server wait five seconds after a first refusal: start them when it answers
	until api_server_answers; do sleep 0.1; done
	keep kube-controller-manager bin/kube-controller-manager --kubeconfig=pki/controller-manager.kubeconfig \
		--service-account-private-key-file=pki/service-account.key --root-ca-file=pki/ca.crt \
		--use-service-account-credentials=true --leader-elect=false --kube-api-qps=500 --kube-api-burst=1000 \
		--cluster-signing-cert-file=pki/ca.crt --cluster-signing-key-file=pki/ca.key --node-monitor-grace-period=30s
	keep kube-scheduler bin/kube-scheduler --kubeconfig=pki/scheduler.kubeconfig --leader-elect=false
	keep coredns bin/coredns config/Corefile
}

keep containerd containerd --config config/containerd.toml
if [ -z "$FIRST" ]; then
	control_plane
fi
until api_server_answers; do sleep 0.1; done
keep kubelet bin/kubelet --config=config/kubelet.yaml --kubeconfig="pki/$NODE_NAME.kubeconfig" \
	--hostname-override="$NODE_NAME" --node-ip="$NODE_ADDRESS" --node-labels="topology.kubernetes.io/zone=$NODE_NAME"
keep kube-proxy bin/kube-proxy --config=config/proxy.yaml
keep volumes bin/volumes pki/volumes.kubeconfig "$NODE_NAME" "$home/volumes" "$SHARED_VOLUMES" "$VOLUMES"
while :; do
	wait
	sleep 1
done
