import type { DryRun } from '../documents.ts';
import { ago, several } from '../format.ts';
import { nowMs } from '../now.ts';
import { Subject } from './subject.tsx';

/** Which of the images that were seen a policy would be for. */
export function SeenImages({ dry: { images } }: { readonly dry: DryRun }) {
  const words =
    images.length === 0
      ? 'It is for no image that was seen so far.'
      : `It is for ${several(images.length, 'image')} that ${images.length === 1 ? 'was' : 'were'} seen:`;
  return (
    <div class="notice" role="status">
      <p>{words}</p>
      <ul class="plain">
        {images.map(({ image, platform, seenAtMs }) => (
          <li key={`${image} ${platform}`}>
            <Subject text={image} />{' '}
            <span class="quiet">
              {platform ?? 'any platform'}, {ago(seenAtMs, nowMs.value)}
            </span>
          </li>
        ))}
      </ul>
    </div>
  );
}
