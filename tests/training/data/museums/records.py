"""Records of the form that each museum writes, made up for tests: no museum holds these objects."""

from __future__ import annotations

from typing import Any

Raw = dict[str, Any]


def met(**fields: Any) -> Raw:
    return {
        "objectID": 900001,
        "accessionNumber": "99.1.1",
        "isPublicDomain": True,
        "primaryImage": "http://127.0.0.1/original/900001.jpg",
        "primaryImageSmall": "http://127.0.0.1/small/900001.jpg",
        "additionalImages": [],
        "objectName": "Bowl",
        "title": "Bowl with Two Cranes",
        "culture": "China",
        "period": "Qing dynasty (1644–1911), Kangxi period (1662–1722)",
        "dynasty": "",
        "reign": "",
        "objectDate": "",
        "objectBeginDate": 1662,
        "objectEndDate": 1722,
        "medium": "Porcelain painted in underglaze blue",
        "creditLine": "Gift of Nobody, 1999",
        "country": "",
        "region": "",
        "classification": "Ceramics",
        "artistNationality": "",
        "objectURL": "https://www.metmuseum.org/art/collection/search/900001",
        "tags": None,
        **fields,
    }


def cleveland(**fields: Any) -> Raw:
    return {
        "id": 900101,
        "accession_number": "2099.12",
        "share_license_status": "CC0",
        "title": "Dish with Melon Vines",
        "culture": ["China, Jiangxi province, Jingdezhen, Ming dynasty (1368-1644)"],
        "technique": "porcelain with underglaze blue decoration",
        "creation_date": "1410-20",
        "type": "Ceramic",
        "creators": [],
        "creditline": "Nobody's Fund",
        "url": "https://clevelandart.org/art/2099.12",
        "images": {"web": {"url": "http://127.0.0.1/web/2099.12.jpg"}},
        **fields,
    }


def artic(**fields: Any) -> Raw:
    return {
        "id": 900201,
        "title": "Ewer with Lotus Scrolls",
        "main_reference_number": "1999.77",
        "date_display": "Yuan dynasty (1271–1368)",
        "date_start": 1300,
        "date_end": 1350,
        "style_titles": [],
        "medium_display": "Porcelain painted in underglaze blue",
        "place_of_origin": "China",
        "artist_display": "Chinese; Jingdezhen",
        "artwork_type_title": "Vessel",
        "classification_titles": ["ceramics"],
        "credit_line": "Gift of Nobody",
        "image_id": "abc-900201",
        "is_public_domain": True,
        **fields,
    }


def mia(**fields: Any) -> Raw:
    return {
        "id": "http://api.artsmia.org/objects/900301",
        "accession_number": "99.3a-c",
        "artist": "",
        "country": "China",
        "culture": None,
        "nationality": None,
        "dated": "1736-1795",
        "style": "18th century",
        "title": "Vase",
        "medium": "Porcelain with\r\nceladon glaze",
        "description": "vase with fluted body",
        "classification": " Ceramics",
        "creditline": "Gift of Nobody",
        "rights_type": "Public Domain",
        "image": "valid",
        "Cache_Location": "010000\\300\\90",
        "Primary_RenditionNumber": "mia_900301.jpg",
        **fields,
    }


def carnegie(**fields: Any) -> Raw:
    return {
        "id": "cmoa:things/0a0a0a0a-0000-4000-8000-000000900401",
        "accession_number": "99.4.A-B",
        "title": "Teapot",
        "creation_date": "1736-1795",
        "medium": "porcelain with enamel decoration",
        "classification": "Ceramics",
        "credit_line": "Bequest of Nobody",
        "web_url": "http://collection.cmoa.org/CollectionDetail.aspx?item=900401",
        "images": [{"image_url": "http://127.0.0.1/cmoa/900401.jpg"}],
        "creator": [{"cited_name": "unknown Chinese", "nationality": "Chinese"}],
        **fields,
    }


def npm(**fields: Any) -> Raw:
    return {
        "identifier": "故瓷900501",
        "name": "青花魚藻紋盤",
        "category": "陶瓷",
        "size": "高4.0公分",
        "era": "明 宣德",
        "desc": "",
        "url": "https://digitalarchive.npm.gov.tw/Collection/Detail/900501",
        "imageUrl_s": "http://127.0.0.1/npm/900501-s.jpg",
        "imageUrl_m": "http://127.0.0.1/npm/900501-m.jpg",
        **fields,
    }


def smithsonian(**fields: Any) -> Raw:
    content: Raw = {
        "descriptiveNonRepeating": {
            "record_link": "https://asia.si.edu/object/F9006.01",
            "online_media": {
                "media": [{"content": "http://127.0.0.1/si/900601.jpg", "usage": {"access": "CC0"}}]
            },
        },
        "indexedStructured": {"culture": ["Chinese"], "object_type": ["Ceramics"]},
        "freetext": {
            "date": [{"content": "11th-12th century"}, {"content": "Northern Song dynasty"}],
            "physicalDescription": [{"content": "Stoneware with celadon glaze, Yaozhou ware"}],
            "objectType": [{"content": "Vessel"}],
            "place": [{"content": "China, Shaanxi province"}],
            "creditLine": [{"content": "Gift of Nobody"}],
        },
    }
    return {"id": "edanmdm-fsg_F9006.01", "title": "Bowl", "content": content, **fields}


def harvard(**fields: Any) -> Raw:
    return {
        "id": 900701,
        "objectnumber": "2099.7",
        "title": "Tripod Incense Burner with Everted Rim",
        "culture": "Chinese",
        "period": "Song dynasty, Southern Song, 1127-1279",
        "dated": "13th century",
        "medium": "Longquan ware: light gray stoneware with celadon glaze",
        "technique": None,
        "classification": "Vessels",
        "creditline": "Harvard Art Museums, Gift of Nobody",
        "url": "https://www.harvardartmuseums.org/collections/object/900701",
        "primaryimageurl": "http://127.0.0.1/harvard/900701.jpg",
        "imagepermissionlevel": 0,
        "worktypes": [{"worktype": "vessel"}],
        **fields,
    }


def vam(**fields: Any) -> Raw:
    return {
        "systemNumber": "O900801",
        "accessionNumber": "C.1&A-1999",
        "objectType": "Jar and cover",
        "titles": [],
        "materialsAndTechniques": "Porcelain, painted in underglaze blue",
        "productionDates": [{"date": {"text": "1573-1620"}}],
        "styles": [{"text": "Ming"}],
        "placesOfOrigin": [{"place": {"text": "Jingdezhen, China"}}],
        "categories": [{"text": "Ceramics"}],
        "partTypes": [],
        "physicalDescription": "",
        "creditLine": "",
        "images": ["2099AB0001"],
        **fields,
    }


def ima(**fields: Any) -> Raw:
    return {
        "irn": 900901,
        "accession_number": "99.9A-B",
        "title": "dish with peony design",
        "materials": "porcelain with underglaze blue",
        "dynasty": "Ming dynasty",
        "period": None,
        "creation_date": "1500s",
        "cultures": [],
        "images": [],
        "credit_line": "Gift of Nobody",
        "rights": None,
        **fields,
    }


def wcma(**fields: Any) -> Raw:
    return {
        "id": "901001",
        "accession_number": "99.1.10.A",
        "title": "Dish",
        "object_name": "dish",
        "medium": "porcelain",
        "creation_date": "Qing Dynasty (1644-1912), K'ang Hsi Reign (1662-1722)",
        "creation_date_earliest": "1662",
        "creation_date_latest": "1722",
        "culture": "Chinese",
        "maker": "Chinese",
        "period": "",
        "description": "blue and white, lotus",
        "filename": "99_1_10_a.jpg",
        "credit_line": "Gift of Nobody",
        **fields,
    }


def puam(**fields: Any) -> Raw:
    return {
        "objectid": 901101,
        "objectnumber": "y1999-11",
        "displaytitle": "Snuff bottle",
        "displaymaker": "Chinese | Qing dynasty, Daoguang reign period, 1821–1850",
        "displaydate": None,
        "medium": "Porcelain with overglaze enamels",
        "creditline": "Gift of Nobody",
        "primaryimage": ["http://127.0.0.1/puam/901101"],
        **fields,
    }
