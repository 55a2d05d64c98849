"""What browsers call themselves."""

_WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"

CHROME = f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {_WEBKIT} Chrome/131.0.0.0 Safari/537.36"
NEWER = CHROME.replace("131", "145")
EDGE = f"{CHROME} Edg/131.0.0.0"
OPERA = f"{CHROME} OPR/116.0.0.0"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0"
SAFARI = f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {_WEBKIT} Version/18.1 Safari/605.1.15"
IPHONE = f"Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) {_WEBKIT} CriOS/131.0 Safari/604.1"
ANDROID = f"Mozilla/5.0 (Linux; Android 10; K) {_WEBKIT} Chrome/131.0.0.0 Mobile Safari/537.36"
SAMSUNG = ANDROID.replace("Chrome/", "SamsungBrowser/27.0 Chrome/")
