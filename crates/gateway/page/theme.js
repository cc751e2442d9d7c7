// Runs before the first paint, so that a stored theme does not flash. A classic script, because modules run later.
(function () {
  'use strict';
  try {
    const theme = localStorage.getItem('theme');
    if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
  } catch {
    // Storage can be forbidden. The page then follows the system.
  }
})();
