import type { z } from 'zod';
import { imageSnapshotSpecSchema, imageSnapshotStatusSchema } from './image-snapshot.ts';
import { snapshotPolicySpecSchema, snapshotPolicyStatusSchema } from './snapshot-policy.ts';
import { structural } from './structural.ts';

export const GROUP = 'drakkar.dev';
export const VERSION = 'v1alpha1';
export const API_VERSION = `${GROUP}/${VERSION}`;

interface Column {
  readonly name: string;
  readonly type: 'string' | 'integer' | 'date';
  readonly jsonPath: string;
  readonly description: string;
  /** Shown where people ask for more. */
  readonly priority?: 1;
}

/** One of our kinds of resources, all of which belong to the cluster as a whole. */
export interface Kind {
  readonly kind: string;
  readonly plural: string;
  readonly singular: string;
  readonly shortNames: readonly string[];
  readonly description: string;
  readonly spec: z.ZodType;
  readonly status: z.ZodType;
  readonly columns: readonly Column[];
}

const AGE: Column = {
  name: 'Age',
  type: 'date',
  jsonPath: '.metadata.creationTimestamp',
  description: 'Since it was made.',
};
const conditionColumn = (name: string, description: string, priority?: 1): Column => ({
  ...{ name, type: 'string', description, jsonPath: `.status.conditions[?(@.type=="${name}")].status` },
  ...(priority === undefined ? {} : { priority }),
});

export const IMAGE_SNAPSHOT: Kind = {
  kind: 'ImageSnapshot',
  plural: 'imagesnapshots',
  singular: 'imagesnapshot',
  shortNames: ['isnap'],
  description:
    'Images that are resolved, built as block snapshots and brought to nodes before pods ask for them.',
  spec: imageSnapshotSpecSchema,
  status: imageSnapshotStatusSchema,
  columns: [
    conditionColumn('Ready', 'Whether all of it is there.'),
    {
      name: 'Images',
      type: 'string',
      jsonPath: '.status.ready',
      description: 'Images that are ready, of all.',
    },
    {
      name: 'Nodes',
      type: 'integer',
      jsonPath: '.status.nodes.ready',
      description: 'Nodes that have all of it.',
    },
    {
      name: 'Desired',
      type: 'integer',
      jsonPath: '.status.nodes.desired',
      description: 'Nodes that are to have it.',
    },
    conditionColumn('Resolved', 'Whether it is known what all references mean.', 1),
    conditionColumn('Built', 'Whether all snapshots are built.', 1),
    conditionColumn('Distributed', 'Whether all nodes that are to have it do.', 1),
    {
      ...{ name: 'Reason', type: 'string', priority: 1, description: 'Why it is not ready.' },
      jsonPath: '.status.conditions[?(@.type=="Ready")].reason',
    },
    AGE,
  ],
};

export const SNAPSHOT_POLICY: Kind = {
  kind: 'SnapshotPolicy',
  plural: 'snapshotpolicies',
  singular: 'snapshotpolicy',
  shortNames: ['snappol'],
  description: 'Which images are snapshotted by themselves, when, and which nodes get them.',
  spec: snapshotPolicySpecSchema,
  status: snapshotPolicyStatusSchema,
  columns: [
    conditionColumn('Ready', 'Whether it is in force.'),
    {
      ...{ name: 'Images', type: 'integer', jsonPath: '.status.images' },
      description: 'Images that were seen, and that it is for.',
    },
    {
      name: 'Pending',
      type: 'integer',
      jsonPath: '.status.pending',
      description: 'That wait, or are being built.',
    },
    AGE,
  ],
};

export const KINDS: readonly Kind[] = [IMAGE_SNAPSHOT, SNAPSHOT_POLICY];

/** What the API server is told of a kind. */
export function definitionOf({ kind, plural, singular, shortNames, description, ...schemas }: Kind) {
  const { spec, status, columns } = schemas;
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${plural}.${GROUP}` },
    spec: {
      group: GROUP,
      scope: 'Cluster',
      names: { kind, listKind: `${kind}List`, plural, singular, shortNames, categories: ['drakkar'] },
      versions: [
        {
          name: VERSION,
          served: true,
          storage: true,
          subresources: { status: {} },
          additionalPrinterColumns: columns,
          schema: {
            openAPIV3Schema: {
              type: 'object',
              description,
              required: ['spec'],
              properties: {
                apiVersion: { type: 'string' },
                kind: { type: 'string' },
                metadata: { type: 'object' },
                spec: structural(spec),
                status: structural(status),
              },
            },
          },
        },
      ],
    },
  };
}
