import { z } from 'zod';
import { pushedOf } from '../notification.ts';
import { isKnown, optionalText, readAs, registryOf, type Shape } from './shape.ts';

const schema = z.object({
  push_data: z.object({ digest: optionalText, tag: optionalText }),
  repository: z.object({
    repo_full_name: optionalText,
    namespace: optionalText,
    name: optionalText,
    region: optionalText,
  }),
});

/** Alibaba Cloud's registries. An instance with a host of its own does not say it: that is the hook's to name. */
export const acrAliyun: Shape = (body, _headers, context) => {
  const { push_data, repository } = readAs(schema, body, 'an Alibaba Cloud registry');
  const { repo_full_name: full, namespace, name, region } = repository;
  return [
    pushedOf({
      registry: registryOf(context, region && `registry.${region}.aliyuncs.com`),
      repository: full ?? (namespace && name && `${namespace}/${name}`),
      ...push_data,
    }),
  ].filter(isKnown);
};
