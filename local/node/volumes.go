package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	storagelisters "k8s.io/client-go/listers/storage/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	provisioner   = "deepseek-operator.local/directory"
	wantedFrom    = "volume.kubernetes.io/storage-provisioner"
	provisionedBy = "pv.kubernetes.io/provisioned-by"
)

// directories makes a directory of the node for every claim whose class names this provisioner, and removes
// it with its volume. Kubernetes' own host-path provisioner makes directories for root alone (0750), and the
// kubelet applies fsGroup to no hostPath volume: a pod of another user could not write to its volume. A
// directory of the one node serves every access mode.
type directories struct {
	root    string
	client  kubernetes.Interface
	claims  corelisters.PersistentVolumeClaimLister
	volumes corelisters.PersistentVolumeLister
	classes storagelisters.StorageClassLister
}

// provideVolumes runs the provisioner until the process ends.
func provideVolumes(args []string) {
	if len(args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: volumes KUBECONFIG DIR")
		os.Exit(2)
	}
	config, err := clientcmd.BuildConfigFromFlags("", args[1])
	if err == nil {
		var client *kubernetes.Clientset
		if client, err = kubernetes.NewForConfig(config); err == nil {
			err = serveVolumes(context.Background(), client, args[2])
		}
	}
	fmt.Fprintln(os.Stderr, "volumes:", err)
	os.Exit(1)
}

func serveVolumes(ctx context.Context, client kubernetes.Interface, root string) error {
	factory := informers.NewSharedInformerFactory(client, 0)
	claims, volumes := factory.Core().V1().PersistentVolumeClaims(), factory.Core().V1().PersistentVolumes()
	classes := factory.Storage().V1().StorageClasses()
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
	for _, informer := range []cache.SharedIndexInformer{claims.Informer(), volumes.Informer(), classes.Informer()} {
		if _, err := informer.AddEventHandler(handler); err != nil {
			return err
		}
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	d := directories{root, client, claims.Lister(), volumes.Lister(), classes.Lister()}
	for range changed {
		// one claim that cannot be served must not hold up the others
		if err := errors.Join(d.makeWanted(ctx), d.removeReleased(ctx)); err != nil {
			fmt.Fprintln(os.Stderr, "volumes:", err)
			time.AfterFunc(time.Second, again)
		}
	}
	return nil
}

func (d directories) makeWanted(ctx context.Context) error {
	claims, err := d.claims.List(labels.Everything())
	for _, claim := range claims {
		if claim.Status.Phase != v1.ClaimPending || claim.Spec.VolumeName != "" || claim.DeletionTimestamp != nil ||
			claim.Annotations[wantedFrom] != provisioner || claim.Spec.StorageClassName == nil {
			continue
		}
		class, failed := d.classes.Get(*claim.Spec.StorageClassName)
		if failed == nil {
			failed = d.makeVolume(ctx, claim, *class.ReclaimPolicy)
		}
		err = errors.Join(err, failed)
	}
	return err
}

func (d directories) removeReleased(ctx context.Context) error {
	volumes, err := d.volumes.List(labels.Everything())
	for _, volume := range volumes {
		if volume.Annotations[provisionedBy] != provisioner || volume.Status.Phase != v1.VolumeReleased ||
			volume.Spec.PersistentVolumeReclaimPolicy != v1.PersistentVolumeReclaimDelete {
			continue
		}
		failed := os.RemoveAll(filepath.Join(d.root, volume.Name))
		if failed == nil {
			failed = d.client.CoreV1().PersistentVolumes().Delete(ctx, volume.Name, metav1.DeleteOptions{})
		}
		if !apierrors.IsNotFound(failed) {
			err = errors.Join(err, failed)
		}
	}
	return err
}

func (d directories) makeVolume(ctx context.Context, claim *v1.PersistentVolumeClaim, reclaim v1.PersistentVolumeReclaimPolicy) error {
	name := "pvc-" + string(claim.UID)
	path := filepath.Join(d.root, name)
	if err := os.MkdirAll(path, 0o777); err != nil {
		return err
	}
	if err := os.Chmod(path, 0o777); err != nil { // whatever the umask is
		return err
	}
	directory := v1.HostPathDirectory
	_, err := d.client.CoreV1().PersistentVolumes().Create(ctx, &v1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{provisionedBy: provisioner}},
		Spec: v1.PersistentVolumeSpec{
			Capacity:                      v1.ResourceList{v1.ResourceStorage: claim.Spec.Resources.Requests[v1.ResourceStorage]},
			AccessModes:                   claim.Spec.AccessModes,
			PersistentVolumeReclaimPolicy: reclaim,
			StorageClassName:              *claim.Spec.StorageClassName,
			PersistentVolumeSource:        v1.PersistentVolumeSource{HostPath: &v1.HostPathVolumeSource{Path: path, Type: &directory}},
			ClaimRef: &v1.ObjectReference{
				APIVersion: "v1", Kind: "PersistentVolumeClaim",
				Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID,
			},
		},
	}, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}
