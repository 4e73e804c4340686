import { generateKeyPairSync } from 'node:crypto';
import { digestOf, isDrakkarError, MEDIA_TYPES, type SnapshotConfig } from '@drakkar/protocol';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkDevices, composeArtifact, openArtifact, parseArtifact } from '../../../src/artifact/index.ts';

const { privateKey, publicKey } = generateKeyPairSync('ed25519');
const stranger = generateKeyPairSync('ed25519');

function fileOf(name: string) {
  return {
    rawDigest: digestOf(`${name} raw`),
    rawSizeBytes: 8192,
    blobDigest: digestOf(`${name} blob`),
    blobSizeBytes: 100,
    piecesDigest: digestOf(`${name} pieces`),
    piecesSizeBytes: 88,
  };
}

const image = digestOf('image');
const subject = { mediaType: MEDIA_TYPES.ociManifest, digest: image, size: 500 };
const config: SnapshotConfig = {
  formatVersion: 1,
  builder: 'test',
  manifestDigest: image,
  blockBytes: 524_288,
  meta: fileOf('meta'),
  devices: [fileOf('a'), fileOf('b')],
  files: 3,
};
const composed = composeArtifact({ config, subject, key: privateKey });

function openChanged(change: (manifest: Record<string, unknown>) => void): unknown {
  const manifest = JSON.parse(Buffer.from(composed.artifact).toString());
  change(manifest);
  const artifact = Buffer.from(JSON.stringify(manifest));
  return openArtifact({ ...composed, artifact, subject: image, trustedKeys: [publicKey] });
}

describe('a snapshot artifact', () => {
  it('opens as what was signed', () => {
    const opened = openArtifact({
      ...composed,
      subject: image,
      trustedKeys: [stranger.publicKey, publicKey],
    });
    expect(opened.config).toEqual(config);
    expect(composeArtifact({ config, subject, key: privateKey })).toEqual(composed);
  });

  it('has its layers in the documented order', () => {
    const names = ['meta blob', 'meta pieces', 'a blob', 'a pieces', 'b blob', 'b pieces'];
    expect(parseArtifact(composed.artifact).layers.map(({ digest }) => digest)).toEqual(
      names.map((n) => digestOf(n)),
    );
  });

  it('is refused from builders that are not trusted', () => {
    const open = () => openArtifact({ ...composed, subject: image, trustedKeys: [stranger.publicKey] });
    expect(open).toThrow(/no trusted builder/);
    expect(() => openArtifact({ ...composed, subject: image, trustedKeys: [] })).toThrow(
      /no trusted builder/,
    );
  });

  it('is refused for another image, even one that it names itself', () => {
    const other = digestOf('other');
    expect(() => openArtifact({ ...composed, subject: other, trustedKeys: [publicKey] })).toThrow(/not of/);
    const lying = composeArtifact({ config, subject: { ...subject, digest: other }, key: privateKey });
    expect(() => openArtifact({ ...lying, subject: other, trustedKeys: [publicKey] })).toThrow(/not of/);
  });

  it('is refused with layers that are not those of the config', () => {
    expect(() => openChanged((manifest) => (manifest.layers as unknown[]).pop())).toThrow(/other layers/);
    expect(() => openChanged((manifest) => (manifest.layers as unknown[]).reverse())).toThrow(/other layers/);
    expect(() =>
      openChanged(
        (manifest) => (manifest.layers = [{ ...parseArtifact(composed.artifact).layers[0], size: 1 }]),
      ),
    ).toThrow(/other layers/);
  });

  it('is refused as anything else', () => {
    expect(() => openChanged((manifest) => (manifest.artifactType = 'x'))).toThrow(/artifact type/);
    expect(() => openChanged((manifest) => delete manifest.subject)).toThrow(/not of/);
    expect(() => openChanged((manifest) => ((manifest.config as { size: number }).size = 1e9))).toThrow(
      /bytes/,
    );
    expect(() => parseArtifact(Buffer.from('{"schemaVersion":2,"manifests":[]}'))).toThrow(/index/);
  });

  it('never fails in an unexpected way, whatever is damaged', () => {
    fc.assert(
      fc.property(fc.boolean(), fc.nat(), fc.integer({ min: 1, max: 255 }), (inEnvelope, at, flip) => {
        const artifact = Buffer.from(composed.artifact);
        const envelope = Buffer.from(composed.envelope);
        const target = inEnvelope ? envelope : artifact;
        const position = at % target.length;
        target[position] = (target[position] ?? 0) ^ flip;
        try {
          const opened = openArtifact({ artifact, envelope, subject: image, trustedKeys: [publicKey] });
          expect(opened.config).toEqual(config);
        } catch (error) {
          expect(isDrakkarError(error)).toBe(true);
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe('the devices of a snapshot', () => {
  const slots = [
    { blocks: 2, unifiedBlock: 5 },
    { blocks: 2, unifiedBlock: 7 },
  ];

  it('are those that its meta points into', () => {
    expect(() => checkDevices({ blocks: 5, devices: slots }, config)).not.toThrow();
  });

  it.each([
    ['fewer', { devices: slots.slice(1) }, config],
    ['of another size', { devices: [{ blocks: 3, unifiedBlock: 5 }, ...slots.slice(1)] }, config],
    ['over the meta', { devices: slots, blocks: 6 }, config],
    ['over each other', { devices: [slots[0], { blocks: 2, unifiedBlock: 6 }] }, config],
    ['twice the same', { devices: slots }, { devices: [fileOf('a'), fileOf('a')] }],
  ])('are refused when they are %s', (_, header, other) => {
    const superblock = { blocks: 5, ...header } as Parameters<typeof checkDevices>[0];
    expect(() => checkDevices(superblock, other)).toThrow(/not consistent/);
  });
});
