/** The services of containerd that are asked, or served. */
export { Content } from './messages/containerd/content_pb.ts';
export { Images } from './messages/containerd/images_pb.ts';
export { Leases } from './messages/containerd/leases_pb.ts';
export * from './messages/containerd/snapshots_pb.ts';
