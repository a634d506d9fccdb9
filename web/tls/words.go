package tls

import (
	"crypto/pbkdf2"
	"crypto/sha256"
	"strings"
)

// stretch is how many rounds of a hash each guess costs whoever looks for a certificate with the same words.
const stretch = 1 << 18

// words are four of 256 words for a certificate in DER. They tell two boxes apart at a glance and let a wrong page be
// noticed; four of them are 32 bits, so only the whole fingerprint is proof against somebody with days of computing.
func words(der []byte) []string {
	list := strings.Fields(wordList)
	key, err := pbkdf2.Key(sha256.New, string(der), []byte("breakwater certificate words"), stretch, 4)
	if err != nil {
		panic("derive words: " + err.Error()) // only for parameters that are never right
	}
	four := make([]string, len(key))
	for i, b := range key {
		four[i] = list[b]
	}
	return four
}

// wordList is 256 words that are short, far apart in sound and spelling, and harmless together. Their order is part
// of what the words of a certificate are.
const wordList = `
acid acorn actor album alley amber angle ankle apple april apron arrow atlas attic autumn axle
bacon badge bagel bamboo banjo barley basil basket beach beaver bench berry bicycle bishop blanket blossom
boat bonfire border bottle branch brass bread brick bridge bronze bubble bucket bugle butter button cabin
cactus camel candle canoe canvas carbon carpet castle cedar cello chalk cherry chess chimney cider cinema
circle citrus clay cliff clock clover cobalt coffee comet compass copper coral cotton cousin crane crystal
cube cupboard curtain daisy dentist desert diamond dolphin donkey dragon drum eagle easel echo elbow elephant
emerald engine envelope fabric falcon feather fiddle finger flame flint flute forest fossil fountain fox frost
galaxy garden garlic gazelle ginger giraffe glacier globe goblet granite grape gravel guitar hammer harbor harp
hazel helmet heron hockey honey horizon husky igloo indigo island ivory jacket jaguar jasmine jigsaw juniper
kangaroo kayak kettle kiosk kitchen koala ladder lagoon lantern lava lemon leopard library lilac linen lizard
lobster lotus lumber lunar magnet mango maple marble meadow melon mercury mirror mocha monkey mosaic mustard
nectar needle nickel noodle nutmeg oasis ocean octopus olive onion opal orange orchid oregano otter oxygen
oyster paddle palace panda papaya parrot pebble pelican pepper piano pigeon pilot planet plaza plum pocket
polar pony poppy prism pumpkin puzzle quartz quill rabbit radar raven ribbon river robin rocket saddle
saffron salmon sandal satin saturn scarf sequoia shadow silver spider spruce squid sugar sunset tango teapot
thistle tiger timber tomato topaz tulip turtle umbrella valley velvet violin walnut walrus willow window zebra
`
