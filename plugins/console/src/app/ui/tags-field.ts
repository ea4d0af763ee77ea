import { ChangeDetectionStrategy, Component, computed, inject, input, model, viewChild } from '@angular/core';
import { Api } from '../core/api';
import { Facets, Tags } from '../core/models';
import { readTags, tagProblem, writeTags } from './targets';
import { TokenField } from './token-field';

const MOST = 32;
const ENTER = 13; // alone: values may have commas

/** Tags, each written name:value; those of the fleet are suggested. */
@Component({
  selector: 'otad-tags-field',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [TokenField],
  template: `<otad-token-field
    [label]="label()"
    [hint]="hint()"
    [values]="texts()"
    (valuesChange)="tags.set(read($event))"
    [suggestions]="found.value()?.tags ?? []"
    [check]="check"
    [error]="error()"
    [separators]="separators"
  />`,
})
export class TagsField {
  readonly tags = model.required<Tags>();
  readonly label = input('Tags');
  readonly hint = input('name:value, such as site:hall-1, then Enter');
  readonly error = input<string>();

  protected readonly found = inject(Api).resource<Facets>(() => '/devices/facets');
  protected readonly separators = [ENTER];
  protected readonly read = readTags;
  protected readonly texts = computed(() => writeTags(this.tags()));
  protected readonly check = (text: string): string | null =>
    tagProblem(text) ??
    (Object.keys({ ...this.tags(), ...readTags([text]) }).length > MOST ? `${MOST} tags are the most.` : null);
  private readonly field = viewChild.required(TokenField);
  readonly pending = computed(() => this.field().pending());

  /** Takes in what is still being typed; false: that is no tag. Whoever saves calls it, so that nothing is lost. */
  take(): boolean {
    return this.field().take();
  }
}
