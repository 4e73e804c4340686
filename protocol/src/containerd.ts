/** The services of containerd that are asked, or served. */
export { Content } from './messages/containerd/content_pb.ts';
export { Images } from './messages/containerd/images_pb.ts';
export { Introspection } from './messages/containerd/introspection_pb.ts';
export { Leases } from './messages/containerd/leases_pb.ts';
export * from './messages/containerd/snapshots_pb.ts';
export { Version } from './messages/containerd/version_pb.ts';

/** What a layer would be called: given by whoever unpacks it. Source: `LabelSnapshotRef` of containerd's pkg/snapshotters. */
export const REF_LABEL = 'containerd.io/snapshot.ref';
/** Of which image a layer is, as the CRI plugin says it. Source: pkg/snapshotters of containerd. */
export const IMAGE_LABEL = 'containerd.io/snapshot/cri.image-ref';
export const MANIFEST_LABEL = 'containerd.io/snapshot/cri.manifest-digest';
export const LAYER_LABEL = 'containerd.io/snapshot/cri.layer-digest';
