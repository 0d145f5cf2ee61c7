package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	storagelisters "k8s.io/client-go/listers/storage/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/record"
)

const (
	provisioner   = "deepseek-operator.local/disk"
	wantedFrom    = "volume.kubernetes.io/storage-provisioner"
	selectedNode  = "volume.kubernetes.io/selected-node"
	provisionedBy = "pv.kubernetes.io/provisioned-by"
	ownedBy       = "deepseek-operator.local/node"
)

// volumes serves the claims whose pods the scheduler wants on one node. A claim for one node becomes a disk of
// that node, which its volume names, so that pods that use it run there. A claim for many nodes becomes a
// directory of the machine, which every node sees: it has no limit.
type volumes struct {
	node    string
	disks   disks
	shared  string
	client  kubernetes.Interface
	events  record.EventRecorder
	claims  corelisters.PersistentVolumeClaimLister
	volumes corelisters.PersistentVolumeLister
	classes storagelisters.StorageClassLister
}

// provideVolumes runs the provisioner of one node until the process ends.
func provideVolumes(args []string) {
	if len(args) != 6 || args[5] != "limited" && args[5] != "unlimited" {
		fmt.Fprintln(os.Stderr, "usage: volumes KUBECONFIG NODE DISKS SHARED limited|unlimited")
		os.Exit(2)
	}
	config, err := clientcmd.BuildConfigFromFlags("", args[1])
	if err == nil {
		var client *kubernetes.Clientset
		if client, err = kubernetes.NewForConfig(config); err == nil {
			p := volumes{node: args[2], disks: disks{args[3], args[5] == "limited"}, shared: args[4], client: client}
			err = p.serve(context.Background())
		}
	}
	fmt.Fprintln(os.Stderr, "volumes:", err)
	os.Exit(1)
}

func (p volumes) serve(ctx context.Context) error {
	if err := p.disks.attachAll(); err != nil {
		fmt.Fprintln(os.Stderr, "volumes:", err) // the others are served
	}
	broadcaster := record.NewBroadcaster(record.WithContext(ctx))
	broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: p.client.CoreV1().Events("")})
	p.events = broadcaster.NewRecorder(scheme.Scheme, v1.EventSource{Component: provisioner, Host: p.node})
	factory := informers.NewSharedInformerFactory(p.client, 0)
	claims, made := factory.Core().V1().PersistentVolumeClaims(), factory.Core().V1().PersistentVolumes()
	classes := factory.Storage().V1().StorageClasses()
	p.claims, p.volumes, p.classes = claims.Lister(), made.Lister(), classes.Lister()
	changed := make(chan struct{}, 1)
	again := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	handler := cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { again() },
		UpdateFunc: func(any, any) { again() },
		DeleteFunc: func(any) { again() },
	}
	for _, informer := range []cache.SharedIndexInformer{claims.Informer(), made.Informer(), classes.Informer()} {
		if _, err := informer.AddEventHandler(handler); err != nil {
			return err
		}
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	for range changed {
		// one claim that cannot be served must not hold up the others
		if err := errors.Join(p.serveClaims(ctx), p.removeReleased(ctx)); err != nil {
			fmt.Fprintln(os.Stderr, "volumes:", err)
			time.AfterFunc(time.Second, again)
		}
	}
	return nil
}

func (p volumes) serveClaims(ctx context.Context) error {
	claims, err := p.claims.List(labels.Everything())
	for _, claim := range claims {
		if claim.Annotations[wantedFrom] != provisioner || claim.Spec.StorageClassName == nil || claim.DeletionTimestamp != nil {
			continue
		}
		var failed error
		var reason string
		switch {
		case claim.Status.Phase == v1.ClaimBound:
			reason, failed = "VolumeResizeFailed", p.grow(ctx, claim)
		case claim.Spec.VolumeName == "" && claim.Annotations[selectedNode] == p.node:
			reason, failed = "ProvisioningFailed", p.provide(ctx, claim)
		}
		if failed != nil {
			p.events.Event(claim, v1.EventTypeWarning, reason, failed.Error())
			err = errors.Join(err, failed)
		}
	}
	return err
}

func (p volumes) provide(ctx context.Context, claim *v1.PersistentVolumeClaim) error {
	class, err := p.classes.Get(*claim.Spec.StorageClassName)
	if err != nil {
		return err
	}
	size := claim.Spec.Resources.Requests[v1.ResourceStorage]
	volume := &v1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{
			Name:        "pvc-" + string(claim.UID),
			Annotations: map[string]string{provisionedBy: provisioner, ownedBy: p.node},
		},
		Spec: v1.PersistentVolumeSpec{
			Capacity:                      v1.ResourceList{v1.ResourceStorage: size},
			AccessModes:                   claim.Spec.AccessModes,
			PersistentVolumeReclaimPolicy: *class.ReclaimPolicy,
			StorageClassName:              class.Name,
			ClaimRef: &v1.ObjectReference{
				APIVersion: "v1", Kind: "PersistentVolumeClaim",
				Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID,
			},
		},
	}
	if ofManyNodes(claim.Spec.AccessModes) {
		path, kind := filepath.Join(p.shared, volume.Name), v1.HostPathDirectory
		volume.Spec.HostPath = &v1.HostPathVolumeSource{Path: path, Type: &kind}
		err = openDirectory(path)
	} else {
		volume.Spec.Local = &v1.LocalVolumeSource{Path: p.disks.path(volume.Name)}
		volume.Spec.NodeAffinity = &v1.VolumeNodeAffinity{Required: onlyOn(p.node)}
		err = p.disks.provide(volume.Name, size.Value())
	}
	if err == nil {
		_, err = p.client.CoreV1().PersistentVolumes().Create(ctx, volume, metav1.CreateOptions{})
	}
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

// grow gives a bound claim the size that it asks for now.
func (p volumes) grow(ctx context.Context, claim *v1.PersistentVolumeClaim) error {
	volume, err := p.volumes.Get(claim.Spec.VolumeName)
	if err != nil || volume.Annotations[ownedBy] != p.node {
		return unlessOvertaken(err)
	}
	size := claim.Spec.Resources.Requests[v1.ResourceStorage]
	if capacity := volume.Spec.Capacity[v1.ResourceStorage]; capacity.Cmp(size) < 0 {
		if volume.Spec.Local != nil {
			if err = p.disks.grow(volume.Name, size.Value()); err != nil {
				return err
			}
		}
		volume = volume.DeepCopy()
		volume.Spec.Capacity[v1.ResourceStorage] = size
		if _, err = p.client.CoreV1().PersistentVolumes().Update(ctx, volume, metav1.UpdateOptions{}); err != nil {
			return unlessOvertaken(err)
		}
	}
	if capacity := claim.Status.Capacity[v1.ResourceStorage]; capacity.Cmp(size) < 0 {
		claim = claim.DeepCopy()
		claim.Status.Capacity = v1.ResourceList{v1.ResourceStorage: size}
		claim.Status.Conditions = nil
		_, err = p.client.CoreV1().PersistentVolumeClaims(claim.Namespace).UpdateStatus(ctx, claim, metav1.UpdateOptions{})
	}
	return unlessOvertaken(err)
}

func (p volumes) removeReleased(ctx context.Context) error {
	all, err := p.volumes.List(labels.Everything())
	for _, volume := range all {
		if volume.Annotations[ownedBy] != p.node || volume.Status.Phase != v1.VolumeReleased ||
			volume.Spec.PersistentVolumeReclaimPolicy != v1.PersistentVolumeReclaimDelete {
			continue
		}
		var failed error
		if volume.Spec.Local != nil {
			failed = p.disks.remove(volume.Name)
		} else {
			failed = os.RemoveAll(filepath.Join(p.shared, volume.Name))
		}
		if failed == nil {
			failed = unlessOvertaken(p.client.CoreV1().PersistentVolumes().Delete(ctx, volume.Name, metav1.DeleteOptions{}))
		}
		err = errors.Join(err, failed)
	}
	return err
}

func ofManyNodes(modes []v1.PersistentVolumeAccessMode) bool {
	return slices.Contains(modes, v1.ReadWriteMany) || slices.Contains(modes, v1.ReadOnlyMany)
}

func onlyOn(node string) *v1.NodeSelector {
	is := v1.NodeSelectorRequirement{Key: v1.LabelHostname, Operator: v1.NodeSelectorOpIn, Values: []string{node}}
	return &v1.NodeSelector{
		NodeSelectorTerms: []v1.NodeSelectorTerm{{MatchExpressions: []v1.NodeSelectorRequirement{is}}},
	}
}

// unlessOvertaken is an error, unless it says that the object went or changed meanwhile: that is an event of its own.
func unlessOvertaken(err error) error {
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}
