import { DestroyRef, Directive, ElementRef, inject, input, signal } from '@angular/core';

/** A frame around what may be wider or higher than it is: then it takes the focus, so that keys can scroll it. */
@Directive({
  selector: '[otadFrame]',
  host: {
    class: 'table-frame',
    '[attr.tabindex]': 'scrolls() ? 0 : null',
    '[attr.role]': 'scrolls() ? "region" : null',
    '[attr.aria-label]': 'scrolls() ? "Table: " + otadFrame() : null',
  },
})
export class Frame {
  /** What is in it. */
  readonly otadFrame = input.required<string>();
  protected readonly scrolls = signal(false);

  constructor() {
    const element = inject<ElementRef<HTMLElement>>(ElementRef).nativeElement;
    const look = () =>
      this.scrolls.set(
        element.scrollWidth > element.clientWidth + 1 ||
          (element.scrollHeight > element.clientHeight + 1 && getComputedStyle(element).overflowY !== 'hidden'),
      );
    const sizes = new ResizeObserver(look);
    sizes.observe(element);
    // What is in it comes later, and may grow while the frame stays as it is.
    const content = new MutationObserver(() => {
      for (const child of element.children) sizes.observe(child);
      look();
    });
    content.observe(element, { childList: true });
    inject(DestroyRef).onDestroy(() => {
      sizes.disconnect();
      content.disconnect();
    });
  }
}
