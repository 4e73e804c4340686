/** Makes what takes longest of all that the tests need, so that none of them waits for it; where it can't be made, they say why. */
import { buildKubernetes } from '@drakkar/lab';

await buildKubernetes();
