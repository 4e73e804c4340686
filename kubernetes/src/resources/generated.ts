import { stringify } from 'yaml';
import { definitionOf, GROUP, KINDS } from './definitions.ts';
import { reference } from './reference.ts';

const HEAD = '# Made from the schemas in kubernetes/src/resources by scripts/generate.\n';

/** The files that are made from the schemas, by their paths from the root of the repository. */
export function generated(): Map<string, string> {
  const definitions = KINDS.map((kind) => {
    const yaml = stringify(definitionOf(kind), { lineWidth: 110, aliasDuplicateObjects: false });
    return [`deploy/kubernetes/crds/${GROUP}_${kind.plural}.yaml`, HEAD + yaml] as const;
  });
  return new Map([...definitions, ['docs/kubernetes-reference.md', reference()]]);
}
