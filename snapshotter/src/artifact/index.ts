/**
 * A snapshot as an OCI artifact that refers to its image, so that a host needs nothing but the registry.
 *
 * ```
 * subject       the image manifest
 * artifactType  application/vnd.drakkar.snapshot.v1+json
 * config        DSSE envelope of the SnapshotConfig, signed by the builder
 * layers        meta blob, its pieces, then per device in slot order: blob, its pieces; then the chunk list
 * ```
 */
export { type ComposedArtifact, type ComposeRequest, composeArtifact } from './compose.ts';
export { checkDevices, requireDevices } from './devices.ts';
export { type OpenedArtifact, type OpenRequest, openArtifact, parseArtifact } from './open.ts';
